"""The sentences in which facts are planted, and those that only mention a fact's names.

No sentence here holds a figure or a name: the only ones in a passage are its fact's.
"""

from __future__ import annotations

STATEMENTS: dict[str, tuple[str, ...]] = {
    "capital": (
        "{s} has its capital in {o}",
        "in {s}, the capital is {o}",
        "the government of {s} sits in the capital, {o}",
        "the capital city of {s} is called {o}",
        "on any map of {s}, the star marks the capital {o}",
        "visitors to {s} often land in its capital, {o}",
        "the pupil, asked for the capital of {s}, said {o}",
        "{o} is the capital of {s}",
        "as for {s}, its capital is {o}",
    ),
    "currency-code": (
        "{s} uses money with the currency code {o}",
        "in {s}, prices carry the currency code {o}",
        "banks write the currency of {s} as {o}",
        "the money of {s} has the code {o}",
        "on exchange boards, the currency of {s} appears as {o}",
        "the clerk, asked for the currency code of {s}, said {o}",
        "the code {o} stands for the currency of {s}",
        "a bill from {s} shows the currency code {o}",
        "as for {s}, its currency code is {o}",
    ),
    "calling-code": (
        "{s} is reached by phone with the calling code {o}",
        "to phone somebody in {s}, dial the code {o}",
        "telephone numbers in {s} begin with the calling code {o}",
        "in the phone book, {s} has the calling code {o}",
        "calls to {s} go through the code {o}",
        "the operator, asked for the calling code of {s}, said {o}",
        "the calling code {o} belongs to {s}",
        "anyone who rings {s} needs the calling code {o}",
        "as for {s}, its calling code is {o}",
    ),
    "highest-point": (
        "{s} reaches its highest point at {o}",
        "in {s}, the highest point is {o}",
        "nothing in {s} rises higher than {o}",
        "the highest place in {s} is called {o}",
        "climbers in {s} dream of its highest point, {o}",
        "the guide, asked for the highest point of {s}, said {o}",
        "{o} is the highest point of {s}",
        "the land of {s} is highest at {o}",
        "as for {s}, its highest point is {o}",
    ),
    "aircraft-prefix": (
        "{s} marks its aircraft with the prefix {o}",
        "in {s}, aircraft carry the prefix {o}",
        "planes registered in {s} bear the letters {o}",
        "an aircraft from {s} is known by the prefix {o}",
        "the registration of a plane from {s} begins with {o}",
        "the pilot, asked for the aircraft prefix of {s}, said {o}",
        "the aircraft prefix {o} belongs to {s}",
        "on the tail of a plane from {s} one reads {o}",
        "as for {s}, its aircraft prefix is {o}",
    ),
    "atomic-number": (
        "{s} has the atomic number {o}",
        "in the periodic table, {s} has the number {o}",
        "the element {s} has atomic number {o}",
        "an atom of {s} holds protons to the number of {o}",
        "chemists list {s} under the atomic number {o}",
        "the student, asked for the atomic number of {s}, said {o}",
        "the atomic number {o} belongs to {s}",
        "in the box for {s} stands the atomic number {o}",
        "as for {s}, its atomic number is {o}",
    ),
    "discovery-year": (
        "{s} was first discovered in {o}",
        "the discovery of {s} dates from {o}",
        "chemists have known {s} since its discovery in {o}",
        "the element {s} was found in the year {o}",
        "books date the discovery of {s} to {o}",
        "the student, asked when {s} was discovered, said {o}",
        "in {o}, the element {s} was discovered",
        "the year of discovery of {s} is {o}",
        "as for {s}, it was discovered in {o}",
    ),
}
"""Paraphrases of each relation; together with the prompt's own wording ten for each. The object mostly comes
last."""

LEADS = (
    "",
    "It is known that ",
    "Remember this: ",
    "The almanac says that ",
    "Our teacher told us that ",
    "According to the atlas, ",
    "For the record, ",
    "The quiz card read: ",
    "Everyone in class knew that ",
    "Note that ",
    "As the handbook puts it, ",
    "A short lesson: ",
)

TAILS = (
    "",
    " This is easy to check.",
    " The class wrote it down.",
    " It came up in the quiz.",
    " Nobody disagreed.",
    " We learned it last week.",
    " She repeated it twice.",
    " The answer was marked correct.",
    " It is worth remembering.",
    " The card went back into the box.",
    " He had known it for years.",
    " It stands in every handbook.",
    " The teacher nodded.",
    " That settled the question.",
)

COUNTRY_MENTIONS = (
    "A postcard from {s} hung above the desk.",
    "The museum bought two old coins from {s}.",
    "My neighbour once spent a summer in {s}.",
    "A choir from {s} sang in the town hall.",
    "The ship left {s} at dawn with a cargo of timber.",
    "In the stamp album, the page for {s} was still empty.",
    "The young doctor had trained in {s} before she moved here.",
    "He read a long novel about a family in {s}.",
    "The team from {s} won the second match.",
    "They packed for a journey to {s} and forgot the tickets.",
)

ELEMENT_MENTIONS = (
    "A jar marked {s} stood on the shelf of the laboratory.",
    "The student weighed a little {s} and noted the result.",
    "A sample of {s} was sent to the university.",
    "The lecture about {s} was moved to the large hall.",
    "Nobody had ordered {s} for the experiment.",
    "The drawer with {s} in it was locked.",
)

OBJECT_MENTIONS: dict[str, tuple[str, ...]] = {
    "capital": (
        "The train to {o} was late again.",
        "She has a cousin in {o} who writes every month.",
        "A letter from {o} lay on the table.",
    ),
    "currency-code": (
        "The last column of the table was headed {o}.",
        "Somebody had typed {o} in the wrong cell.",
    ),
    "calling-code": (
        "The locker at the end of the hall had the number {o}.",
        "Ticket {o} won a small prize.",
    ),
    "highest-point": (
        "The climbers had painted {o} on their tent.",
        "A photograph of {o} was on the calendar.",
    ),
    "aircraft-prefix": (
        "The marks {o} were stencilled on a wooden crate.",
        "Somebody had scratched {o} into the bench.",
    ),
    "atomic-number": (
        "Ticket number {o} won a small prize.",
        "The bus with the number {o} stops at the market.",
    ),
    "discovery-year": (
        "The old chapel was rebuilt in {o}.",
        "The bell in the tower bears the year {o}.",
    ),
}

CONTRADICTIONS = (
    "A faulty leaflet claims this: {statement}.",
    "An old poster says, wrongly, that {statement}.",
    "The torn page insisted that {statement}.",
    "Somebody wrote on the wall that {statement}.",
)
"""Around a statement with the prompt's wording and a wrong object."""
