"""Addresses of every kind of page in the example catalogue."""

TRACKSTAR = "trackstar-abc000000000"
BM25 = "bm25-abc000000004"
WITHOUT = "5eed00000009"
CLOSED_POOL, OPEN_POOL = "b11d00000001", "b11d00000002"
FIRST = f"{1:024x}"
"""An annotation that ben made in the closed pool."""

IN_PLACE = "/annotate/in-place?prompt=capital-peru&passage=fact%2Fcapital%2Fperu%2F0"
SIGNED_IN = {
    "/annotate": "annotator",
    f"/annotate/pools/{OPEN_POOL}": "annotator",
    f"/annotate/pools/{CLOSED_POOL}": "annotator",
    IN_PLACE: "annotator",
    f"{IN_PLACE}&edit=true": "annotator",
    "/annotate/mine": "annotator",
    "/annotate/mine?label=states-fact&pool=none": "annotator",
    f"/annotations/{FIRST}": "annotator",
    "/prompts/capital-peru?methods=bm25": "annotator",
    "/annotate/pools/new": "curator",
    "/annotate/pools/new?task=facts&q=capital": "curator",
    "/annotations": "curator",
    "/agreement": "curator",
    "/account": "reader",
    "/flags": "curator",
    "/flags?state=all&limit=1": "annotator",
    "/passages/factbook/peru/0": "curator",
    "/sources/private": "curator",
    "/admin": "admin",
    "/admin/users": "admin",
    "/admin/tokens": "admin",
    "/admin/jobs": "admin",
    "/admin/audit": "admin",
    "/admin/audit?user=command+line&action=token&limit=2": "admin",
    "/admin/check": "admin",
    f"/annotations?pool={CLOSED_POOL}&user=ben&limit=2": "curator",
}
"""Pages that only those who have signed in see, or see so, and the least role that sees them."""

SIGNED_IN_JSON = {
    "/annotate.json": "annotator",
    f"/annotate/pools/{OPEN_POOL}.json": "annotator",
    "/annotate/mine.json": "annotator",
    f"/annotations/{FIRST}.json": "annotator",
    "/annotations.json": "curator",
    "/account.json": "reader",
    "/sources/private.json": "curator",
    "/admin.json": "admin",
    "/admin/users.json": "admin",
    "/admin/tokens.json": "admin",
    "/admin/jobs.json": "admin",
    "/admin/audit.json": "admin",
    "/admin/check.json": "admin",
}
BY_ROLE = {"reader": "rita", "annotator": "ben", "curator": "ada", "admin": "root"}
"""Who of the example's people has which role."""

HTML = (
    "/",
    "/prompts",
    "/prompts?task=facts&bucket=50%2B&limit=3",
    "/prompts?relation=nobody+has+this",
    "/prompts?q=capital+of&sort=least-confident&correct=false",
    "/prompts?bucket=2-4,5-9&confident=true&opponents=true&annotated=false&sort=best-traced",
    "/prompts/capital-peru",
    "/prompts/capital-peru?side=opponents&methods=random,house-blend&k=100",
    "/prompts/story-2",
    "/prompts/capital-peru?task=facts&sort=most-confident&copies=each&k=25&start=26",
    "/prompts/hostile-0",
    f"/r/{TRACKSTAR}+{BM25}/capital-peru",
    "/passages/factbook/peru/0",
    "/passages/fact/capital/peru/0",
    "/passages/hostile/0",
    "/methods",
    "/runs",
    f"/runs/{TRACKSTAR}",
    f"/runs/{BM25}",
    "/comparisons",
    f"/comparisons/{WITHOUT}",
    f"/comparisons/{WITHOUT}?prompts=hostile-0,hostile-2,nobody&limit=2",
    f"/comparisons/{WITHOUT}?q=capital+of&start=3",
    "/ask",
    "/agreement",
    "/flags",
    "/flags?reason=toxic&state=all",
    f"/agreement?pool={CLOSED_POOL}",
    "/agreement?task=arithmetic&include=in-place",
    "/sign-in",
    "/ask?prompt=Two%0Alines&by=model&method=bm25&task=facts",
)
JSON = (
    "/index.json",
    "/prompts.json",
    "/prompts/capital-peru.json",
    f"/r/{TRACKSTAR}+{BM25}/capital-peru.json",
    "/passages/factbook/peru/0.json",
    "/methods.json",
    "/runs.json",
    f"/runs/{TRACKSTAR}.json",
    "/comparisons.json",
    "/agreement.json",
    "/flags.json",
    f"/comparisons/{WITHOUT}.json",
)
