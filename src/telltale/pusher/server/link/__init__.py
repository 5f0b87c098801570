"""The way to the other processes of the site, over Telltale's broker, and what they share besides the membership."""
