"""RoVoLaD: robot voice to stylized voice by latent diffusion."""
