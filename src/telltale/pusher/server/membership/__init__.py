"""Who is where on the whole site, agreed on by processes that may lose messages or die. Pure."""
