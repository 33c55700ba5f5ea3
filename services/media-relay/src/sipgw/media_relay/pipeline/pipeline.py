"""MediaPipeline: a Chain of Responsibility over blocks of frames."""

from collections.abc import Sequence

from sipgw.media_relay.pipeline.block import FrameBlock
from sipgw.media_relay.pipeline.stage import Stage, Tick


class MediaPipeline:
    """Stages in the order of the uplink, from the caller to the bot. The downlink passes them in reverse."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._uplink = tuple(stages)
        self._downlink = tuple(reversed(stages))

    def uplink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Pass callers' audio along until every row is taken; return the rows that no stage took."""
        for stage in self._uplink:
            if not len(block):
                break
            block = stage.uplink(block, tick)
        return block

    def downlink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Pass audio that is about to be sent to callers through every stage."""
        for stage in self._downlink:
            block = stage.downlink(block, tick)
        return block
