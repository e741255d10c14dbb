"""Webhooks: where news is sent to, and its delivery. `app.outbox.emit` is how other code tells of something."""
