"""The bot streams: gateway side of voicebot.VoiceBot, over Trunk or StreamCall
(docs/explanation/bot-protocol.md).
"""
