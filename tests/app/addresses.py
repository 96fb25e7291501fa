"""Addresses of every kind of page in the example catalogue."""

TRACKSTAR = "trackstar-abc000000000"
BM25 = "bm25-abc000000004"
HTML = (
    "/",
    "/prompts",
    "/prompts?task=facts&bucket=50%2B&limit=3",
    "/prompts?relation=nobody+has+this",
    "/prompts/capital-peru",
    "/prompts/capital-peru?side=opponents&methods=random,house-blend&k=100",
    "/prompts/story-2",
    "/prompts/hostile-0",
    f"/r/{TRACKSTAR}+{BM25}/capital-peru",
    "/passages/factbook/peru/0",
    "/passages/fact/capital/peru/0",
    "/passages/hostile/0",
    "/runs",
    f"/runs/{TRACKSTAR}",
    f"/runs/{BM25}",
)
JSON = (
    "/index.json",
    "/prompts.json",
    "/prompts/capital-peru.json",
    f"/r/{TRACKSTAR}+{BM25}/capital-peru.json",
    "/passages/factbook/peru/0.json",
    "/runs.json",
    f"/runs/{TRACKSTAR}.json",
)
