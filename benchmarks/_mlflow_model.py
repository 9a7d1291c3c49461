"""What `mlflow models serve` serves beside ours: the program of one user. MLflow copies this file into the model."""

from typing import Any

import dspy
import mlflow

from personaagent.alignment import live_persona, program
from personaagent.data.task import OPEN
from personaagent.home import Home
from personaagent.programs import AgentSettings
from personaagent.runs import AGENT, role_lms


class OneUser(mlflow.pyfunc.PythonModel):
    """Answers as the first user of the home folder, keeps nothing of what it is asked and knows no keys."""

    def load_context(self, context: Any) -> None:
        """Open the home folder that the environment names; MLflow calls this when its server starts."""
        self.home = Home()
        user = self.home.store.user("user 0")
        self.agent = program(user, live_persona(user), OPEN, AgentSettings(action=False))
        self.lm = role_lms(self.home.settings)[AGENT]

    def predict(self, model_input: list[str]) -> list[str]:
        """Answer each query."""
        with dspy.context(lm=self.lm, disable_history=True):
            return [self.agent(query=query).response for query in model_input]


mlflow.models.set_model(OneUser())
