"""The network that the diffusion mathematics calls, and the prior's mean."""

RECIPE = 1  # raised whenever a change alters trained numbers
