"""The bot streams: gateway side of voicebot.VoiceBot, over Trunk or StreamCall (DESIGN §3.1, §3.2)."""
