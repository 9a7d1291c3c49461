"""Load a program that another process saved, answer under a scripted LM, and print what can be compared."""

import json
import sys
from pathlib import Path

import dspy

from personaagent.data.interaction import Interaction
from personaagent.data.task import Task
from personaagent.programs import AgentSettings, PersonaAgent
from personaagent.testing import ScriptedLM, in_memory_store


def main(folder: Path) -> None:
    given = json.loads((folder / "given.json").read_text(encoding="utf-8"))
    task = Task.model_validate(given["task"])
    lm = ScriptedLM(given["answers"])
    with in_memory_store() as store, dspy.context(lm=lm):
        user = store.add_user("maya")
        user.interactions.add([Interaction.model_validate(each) for each in given["history"]])
        settings = AgentSettings.model_validate(given["settings"])
        agent = PersonaAgent(task, user.memory, tools=[], settings=settings)
        agent.load(folder / "program.json")
        answered = agent(query=given["query"])
    result = {
        "prompts": [request.text for request in lm.requests],
        "persona": agent.persona.fingerprint,
        "version": agent.persona_version,
        "response": answered.response,
    }
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
