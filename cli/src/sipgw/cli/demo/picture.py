"""The demo's picture: the caller's audio above, the bot's below, the call's events across both.

It needs matplotlib, which `make demo` installs and no service needs: imported here and nowhere else.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sipgw.cli.demo.story import Moment, Story
    from sipgw.siptest import AudioTrack

_SAID, _HEARD, _KEY, _SIP = "#2563a8", "#c2571a", "#6b3fa0", "#4b5563"
_FULL_SCALE = 32768


def draw(story: "Story", path: Path) -> None:
    """Draw the picture. Raises ImportError without matplotlib."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    start_s = story.call.times.invited_s
    figure: Any
    axes: Any
    figure, axes = plt.subplots(2, 1, figsize=(13, 6.2), sharex=True, layout="constrained")
    _wave(axes[0], story.call.media.sent_track, start_s, _SAID, "caller says")
    _wave(axes[1], story.call.received.track, start_s, _HEARD, "bot says")
    keys = [m for m in story.moments if len(m.label) == 1]
    others = [m for m in story.moments if len(m.label) > 1]
    for axis in axes:
        for moment in keys:
            axis.axvspan(moment.at_s - start_s, moment.at_s - start_s + 0.1, color=_KEY, alpha=0.25, lw=0)
        for moment in others:
            axis.axvline(moment.at_s - start_s, color=_SIP, lw=0.8, ls=(0, (4, 3)))
    for moment in keys:
        axes[0].text(moment.at_s - start_s + 0.05, 0.9, moment.label, color=_KEY, ha="center", weight="bold")
    _label_sip(axes[0], others, start_s)
    axes[1].set_xlabel("seconds since the INVITE")
    figure.suptitle(_title(story), fontsize=11)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _wave(axis: Any, track: "AudioTrack", start_s: float, color: str, label: str) -> None:
    """Draw each packet at the time it was sent or arrived."""
    if track.packets:
        first_s = min(packet.at_s for packet in track.packets) - start_s
        samples = track.samples() / _FULL_SCALE
        axis.plot(first_s + np.arange(len(samples)) / track.rate_hz, samples, color=color, lw=0.4)
    axis.set_ylim(-1, 1)
    axis.set_yticks([])
    axis.set_ylabel(label, color=color, fontsize=11)
    axis.margins(x=0.02)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _label_sip(axis: Any, moments: "list[Moment]", start_s: float) -> None:
    """Label the messages; those that follow each other closely share a label."""
    groups: list[list[Moment]] = []
    for moment in sorted(moments, key=lambda m: m.at_s):
        if groups and moment.at_s - groups[-1][0].at_s < 0.35:
            groups[-1].append(moment)
        else:
            groups.append([moment])
    for group in groups:
        words = " · ".join(dict.fromkeys(moment.label for moment in group))
        axis.annotate(
            words,
            (group[0].at_s - start_s, 1.0),
            xytext=(0, 4),
            textcoords="offset points",
            fontsize=8.5,
            color=_SIP,
            ha="left" if group is groups[0] else "right",
            annotation_clip=False,
        )


def _title(story: "Story") -> str:
    words = [f"call {story.call_id[:12]}"]
    if story.statistics is not None and story.statistics.answer_time_ms is not None:
        words.append(f"answered in {story.statistics.answer_time_ms:.0f} ms")
    if story.latency is not None:
        words.append(f"echo latency p50 {story.latency.p50_ms:.0f} ms, p99 {story.latency.p99_ms:.0f} ms")
    words.append(f"keys heard by the bot: {story.digits_heard or 'none'}")
    return "   |   ".join(words)
