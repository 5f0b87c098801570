"""What all tests share: nobody inherits another's broker, settings or owner."""
