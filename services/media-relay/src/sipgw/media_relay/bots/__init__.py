"""The bot streams of calls: the gateway side of voicebot.VoiceBot (docs/explanation/bot-protocol.md)."""
