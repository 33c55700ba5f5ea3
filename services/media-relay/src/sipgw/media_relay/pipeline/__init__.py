"""The chain of stages that the calls' audio passes through in each tick, as columns."""

from sipgw.media_relay.pipeline.block import FrameBlock, FrameFlag
from sipgw.media_relay.pipeline.pipeline import MediaPipeline
from sipgw.media_relay.pipeline.stage import Playout, Stage, Tick, handle_of, row_of

__all__ = ["FrameBlock", "FrameFlag", "MediaPipeline", "Playout", "Stage", "Tick", "handle_of", "row_of"]
