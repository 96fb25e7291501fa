"""Addresses of every kind of page in the example catalogue."""

TRACKSTAR = "trackstar-abc000000000"
BM25 = "bm25-abc000000004"
WITHOUT = "5eed00000009"
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
    f"/comparisons/{WITHOUT}.json",
)
