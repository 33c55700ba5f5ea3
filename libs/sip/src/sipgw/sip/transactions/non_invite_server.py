"""The non-INVITE server transaction: RFC 3261 figure 8."""

from typing import Final

from sipgw.sip.timers import Timer
from sipgw.sip.transactions.states import Action, Input, State, Table, Transition, make_table

STATES: Final = (State.TRYING, State.PROCEEDING, State.COMPLETED, State.TERMINATED)
INPUTS: Final = (
    Input.REQUEST,
    Input.PROVISIONAL,
    Input.SUCCESS,
    Input.FAILURE,
    Input.TIMER_J,
    Input.TRANSPORT_ERROR,
)
INITIAL: Final = Transition(State.TRYING, (Action.PASS,))

_Y, _P, _C, _T = STATES
_FINAL = Transition(_C, (Action.SEND,), start=(Timer.J,))
_BROKEN = Transition(_T, (Action.REPORT_TRANSPORT_ERROR,))

TABLE: Final[Table] = make_table(
    STATES,
    INPUTS,
    {
        (_Y, Input.PROVISIONAL): Transition(_P, (Action.SEND,)),
        (_Y, Input.SUCCESS): _FINAL,
        (_Y, Input.FAILURE): _FINAL,
        (_P, Input.REQUEST): Transition(_P, (Action.REPEAT,)),
        (_P, Input.PROVISIONAL): Transition(_P, (Action.SEND,)),
        (_P, Input.SUCCESS): _FINAL,
        (_P, Input.FAILURE): _FINAL,
        (_P, Input.TRANSPORT_ERROR): _BROKEN,
        (_C, Input.REQUEST): Transition(_C, (Action.REPEAT,)),
        (_C, Input.TIMER_J): Transition(_T),
        (_C, Input.TRANSPORT_ERROR): _BROKEN,
    },
)
