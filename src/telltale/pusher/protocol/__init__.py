"""The rules of the Pusher protocol, without I/O: names, signatures, messages, close codes. Time is an argument."""
