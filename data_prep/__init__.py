"""From recordings on disk to the audio folders and the manifest."""
