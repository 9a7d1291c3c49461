"""Tools of the outer world are recorded like LMs, so that a run can be taken up again and replayed without them."""

import json
import time
from typing import Any

import dspy

from ..data.call import NOTHING, Failure
from ..programs.tools.toolbox import ToolFailure, used
from .recorder import Callee, OpenCall, recorder_here

ROLE = "tool"


def recorded_tool(tool: dspy.Tool) -> dspy.Tool:
    """Return a tool that answers from the journal of the run that is going on, and records what it had to ask.

    Outside a run it is the tool itself. That it failed is recorded too, and what a `ToolFailure` says.

    Args:
        tool: A tool whose answer can be another tomorrow: one that asks the network, say.
    """
    callee = Callee(ROLE, endpoint="", model=tool.name)

    def use(**arguments: Any) -> str:
        recorder = recorder_here.get()
        if recorder is None:
            return str(used(tool, arguments))
        call = recorder.open(callee, json.dumps(arguments, sort_keys=True), NOTHING)
        recorded = call.recorded(failed_too=True)
        if recorded is None:
            return _used_and_recorded(tool, arguments, call)
        if recorded.response is None:
            raise ToolFailure(recorded.failure.message if recorded.failure else "it did not answer")
        return json.loads(recorded.response)

    return dspy.Tool(use, name=tool.name, desc=tool.desc, args=tool.args, arg_types=tool.arg_types)


def _used_and_recorded(tool: dspy.Tool, arguments: dict[str, Any], call: OpenCall) -> str:
    began = time.perf_counter()
    call.begin()
    try:
        answer = str(used(tool, arguments))
    except Exception as error:
        failure = error if isinstance(error, ToolFailure) else ToolFailure(f"it raised {type(error).__name__}")
        call.fail(Failure(kind=type(error).__name__, message=str(failure)), NOTHING, time.perf_counter() - began)
        raise failure from error
    call.end(json.dumps(answer), NOTHING, time.perf_counter() - began)
    return answer
