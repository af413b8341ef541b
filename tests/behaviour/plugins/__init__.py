"""Third parties' plugins, as their users install them."""
