"""Media relay: RTP, the tick, the pipeline, the bot streams."""
