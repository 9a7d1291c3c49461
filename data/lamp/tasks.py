"""The tasks of LaMP (Salemi et al., arXiv 2304.11406): official templates and label sets.

>>> TASKS["LaMP-3"].query("Broke after a week.")[-27:]
'review: Broke after a week.'
"""

from ..task import Task

MOVIE_TAGS = (
    *("sci-fi", "based on a book", "comedy", "action", "twist ending", "dystopia", "dark comedy", "classic"),
    *("psychology", "fantasy", "romance", "thought-provoking", "social commentary", "violence", "true story"),
)
NEWS_CATEGORIES = (
    *("women", "religion", "politics", "style & beauty", "entertainment", "culture & arts", "sports"),
    *("science & technology", "travel", "business", "crime", "education", "healthy living"),
    *("parents", "food & drink"),
)

_TASKS = (
    # A question of LaMP-1 has three titles in it, so no template of one content can build it.
    Task(name="LaMP-1", kind="label", labels=("[1]", "[2]"), positional=True),
    Task(
        name="LaMP-2M",
        kind="label",
        labels=MOVIE_TAGS,
        template="Which tag does this movie relate to among the following tags? Just answer with the tag name without "
        f"further explanation. tags: [{', '.join(MOVIE_TAGS)}] description: {{content}}",
    ),
    Task(
        name="LaMP-2N",
        kind="label",
        labels=NEWS_CATEGORIES,
        template="Which category does this article relate to among the following categories? Just answer with the "
        f"category name without further explanation. categories: [{', '.join(NEWS_CATEGORIES)}] article: {{content}}",
    ),
    Task(
        name="LaMP-3",
        kind="rating",
        labels=("1", "2", "3", "4", "5"),
        template="What is the score of the following review on a scale of 1 to 5? just answer with 1, 2, 3, 4, or 5 "
        "without further explanation. review: {content}",
    ),
    Task(name="LaMP-4", kind="text", template="Generate a headline for the following article: {content}"),
    Task(name="LaMP-5", kind="text", template="Generate a title for the following abstract of a paper: {content}"),
    Task(name="LaMP-6", kind="text", template="Generate a subject for the following email: {content}"),
    Task(
        name="LaMP-7",
        kind="text",
        template="Paraphrase the following tweet without any explanation before or after it: {content}",
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _TASKS}
"""LaMP's tasks by name. Movies and news both call themselves `LaMP_2` in LaMP's own files: here LaMP-2M and LaMP-2N."""
