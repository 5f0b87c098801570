"""What a page costs a visitor: requests, bytes, the time to the first live update, and the work of moving bars."""
