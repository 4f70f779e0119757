"""What HisToSGE and SpaMCAF share: both see crops around positions."""
