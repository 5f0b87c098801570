"""What an app's site is told of its channels: webhooks to other servers, Django signals inside."""
