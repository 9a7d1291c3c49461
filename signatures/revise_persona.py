import dspy

# The persona update of the paper: the whole prompt goes in, the whole prompt comes out. The four lists are the sections
# of data.persona.Persona, so that every line of the rewrite has a place and, later, causes.


class RevisePersona(dspy.Signature):
    """You are a prompt engineer. Rewrite the system prompt of an assistant that is personalised to one user.

    Use all the critiques. The new prompt brings out what is particular to this user, tells the assistant to align with
    it, describes the user in detail and in general terms, and keeps a helpful and clear tone. Keep every line that is
    still right, word for word; write at most seven lines of each kind. The rules for using tools survive. Never copy a
    question or its answer into the prompt.
    """

    system_prompt: str = dspy.InputField(desc="the current system prompt, whole")
    critiques: str = dspy.InputField(desc="what was wrong with the responses given under it: quoted advice")
    profile: list[str] = dspy.OutputField(desc="who the user is: interests, tastes, knowledge, ways of thinking")
    preferences: list[str] = dspy.OutputField(desc="what the user prefers, and how to decide between answers")
    tool_use: list[str] = dspy.OutputField(desc="how to use tools for this user, which searches suit them")
    style: list[str] = dspy.OutputField(desc="how to answer this user")
