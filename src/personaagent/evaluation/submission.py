"""Predictions in the form in which LaMP takes them in for its hidden golds.

{"task": "LaMP_2", "golds": [{"id": "210", "output": "comedy"}, ...]}
"""

import json
import re
from pathlib import Path

from ..data.errors import writing
from .summary import Evaluation


def write_submissions(folder: Path, evaluation: Evaluation) -> tuple[Path, ...]:
    """Write `submission-METHOD.json` for each method, and return the files.

    An output is what the program answered; it is empty where there is no answer.
    """
    name = re.sub(r"LaMP-(\d+).*", r"LaMP_\1", evaluation.task.name)  # Movies and news are both LaMP_2 there.
    files: list[Path] = []
    for method in evaluation.methods:
        rows = (row for row in evaluation.rows if row.method == method)
        outputs = sorted((row.question_id, row.prediction or "") for row in rows)
        said = {"task": name, "golds": [{"id": of, "output": output} for of, output in outputs]}
        path = folder / f"submission-{re.sub(r'[^A-Za-z0-9_.=-]+', '-', method)}.json"
        with writing(path):
            path.write_text(json.dumps(said, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        files.append(path)
    return tuple(files)
