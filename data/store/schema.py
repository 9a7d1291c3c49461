"""The tables, as queries name them. What they are made of stands in `migrations.py`, once.

A row is a noun's JSON beside the columns by which it is found. Those columns are an index: they are written together
with the noun and never apart from it. Rows are added and, where something is forgotten, deleted; none is ever changed,
but for tasks and those of a server: an API key is revoked, usage is counted, a job or an erasure goes on, a write that
was begun is answered.

    users               everyone of whom something is stored; `ordinal` is the order of creation
    interactions        one row each; `position` is the place in the user's history, `moment` when it was, `known`
                        whether there is a ground truth, `size` the bytes of the noun
    statements          one row each; the current one of a topic has the highest `ordinal`
    persona_versions    as recorded; whether one is live or retired is told by `promotions` alone
    promotions          append-only: which version became live; the last one is live now
    alignments          one row each, in the order in which they were recorded
    runs                one row each; `position` is the order of creation
    run_ends            append-only: how each stretch of a run ended; a run without one was interrupted
    calls               append-only: what was asked, a row for each attempt, written before it is sent
    attempts            append-only: how each attempt ended; one without a row here was under way at a crash
    api_keys            one row each; `user_key` only of a user's key
    usage               one row for each API key and day (UTC); `dollars` is NULL once a price was not known
    idempotency         writes that are done once, by a hash of the client's token; `user_key` is whom each is about
    jobs                alignments that a server was asked for
    tasks               tasks of one's own; one that is added again replaces the older
    erasures            users who are to be erased, and what is left to do of each
    migrations          the migrations that this database has had
"""

from sqlalchemy import column, table

users = table("users", column("key"), column("user_id"), column("ordinal"))
interactions = table(
    "interactions",
    column("user_key"),
    column("interaction_id"),
    column("position"),
    column("noun"),
    column("moment"),
    column("known"),
    column("size"),
)
statements = table(
    "statements", column("user_key"), column("ordinal"), column("statement_id"), column("topic"), column("noun")
)
persona_versions = table("persona_versions", column("user_key"), column("number"), column("noun"))
promotions = table("promotions", column("user_key"), column("ordinal"), column("number"), column("noun"))
alignments = table("alignments", column("user_key"), column("ordinal"), column("alignment_id"), column("noun"))
runs = table("runs", column("run_id"), column("position"), column("noun"))
run_ends = table("run_ends", column("run_id"), column("ordinal"), column("noun"))
calls = table(
    "calls",
    column("run_id"),
    column("key"),
    column("number"),
    column("user_key"),
    column("role"),
    column("model"),
    column("at"),
    column("noun"),
)
attempts = table("attempts", column("run_id"), column("key"), column("number"), column("answered"), column("noun"))
api_keys = table("api_keys", column("key_id"), column("user_key"), column("noun"))
usage = table("usage", column("key_id"), column("day"), column("calls"), column("dollars"))
idempotency = table("idempotency", column("key_id"), column("token"), column("user_key"), column("at"), column("noun"))
jobs = table("jobs", column("user_key"), column("job_id"), column("at"), column("noun"))
tasks = table("tasks", column("name"), column("noun"))
erasures = table("erasures", column("user_key"), column("at"), column("parts"))
migrations = table("migrations", column("name"))
