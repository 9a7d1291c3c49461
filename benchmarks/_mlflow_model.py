"""What `mlflow models serve` serves beside ours: the program of one user. MLflow copies this file into the model."""

import os
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import dspy
import mlflow

from personaagent.data.interaction import Interaction
from personaagent.data.task import OPEN
from personaagent.home import Home
from personaagent.journal import AGENT, role_lms
from personaagent.personas import live_persona, program
from personaagent.programs import AgentSettings
from personaagent.programs.scope import within


class OneUser(mlflow.pyfunc.PythonModel):
    """Answers as the first user of the home folder, and knows no keys.

    It keeps nothing of what it is asked; with `KEEPING` in the environment it records every call to the LM and
    remembers every exchange.
    """

    def load_context(self, context: Any) -> None:
        """Open the home folder that the environment names; MLflow calls this when its server starts."""
        self.home = Home()
        self.user = self.home.store.user("user 0")
        self.agent = program(self.user, live_persona(self.user), OPEN, AgentSettings(action=False))
        self.lm = role_lms(self.home.settings)[AGENT]
        self.open = ExitStack()
        self.run = self.open.enter_context(self.home.run("mlflow")) if os.environ.get("KEEPING") else None

    def predict(self, model_input: list[str]) -> list[str]:
        """Answer each query."""
        return [self._kept(query) if self.run else self._answer(query) for query in model_input]

    def _answer(self, query: str) -> str:
        with dspy.context(lm=self.lm, disable_history=True):
            return self.agent(query=query).response

    def _kept(self, query: str) -> str:
        name = uuid4().hex
        with self.run.inside(), within(name, user_key=self.user.key):
            response = self.agent(query=query).response
        self.user.interactions.add([Interaction(interaction_id=name, query=query, response=response)])
        return response


mlflow.models.set_model(OneUser())
