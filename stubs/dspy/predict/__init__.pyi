from dspy import ChainOfThought as ChainOfThought
from dspy import Predict as Predict
