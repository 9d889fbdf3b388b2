"""What the shipped decision rests on; written by ``benchmarks/fit_verifier.py``, not by hand."""

from __future__ import annotations

from agentic_synth.policies.semantic.lexicon import words

__all__ = ["COMMON", "EVIDENCE", "HINGES", "HINGES_ANY", "WEIGHTS", "WEIGHTS_ANY"]

# An intercept and one weight a feature; then (feature, knot, weight) where a slope changes.
WEIGHTS = (
    -10.6091,
    6.20195,
    2.05365,
    3.63552,
    -0.110334,
    -0.403486,
    1.6078,
    2.57033,
    -1.49615,
    -1.0789,
    1.92275,
    -0.671089,
    -0.811516,
    0.0687048,
    -0.373236,
    -4.16127,
    -0.683538,
    -0.0373283,
    0.473873,
    2.32759,
    -0.812066,
    -0.485162,
    -0.662157,
)
HINGES = (
    (0, 0.5, 4.15063),
    (0, 0.7, -6.20014),
    (0, 0.8, -1.70146),
    (0, 0.95, -5.79597),
    (1, 0.2, -1.37081),
    (1, 0.4, -2.99651),
    (1, 0.6, 1.20294),
    (1, 0.8, 5.92922),
    (2, 0.4, -2.08537),
    (2, 0.6, -1.42739),
    (2, 0.8, -1.51544),
    (20, 0.5, 0.844801),
    (20, 1.0, -1.26025),
    (21, 0.5, 0.892284),
    (21, 1.0, 0.178255),
    (21, 1.5, -1.47156),
    (19, 0.5, -0.278482),
    (19, 1.0, 1.06974),
    (19, 1.5, -1.81352),
)
# The same without the similarity, for an embedder that was not there when these were fitted.
WEIGHTS_ANY = (
    -6.77274,
    0,
    3.55257,
    5.88802,
    0.196647,
    -0.505347,
    1.38816,
    3.04161,
    -1.42862,
    -1.44512,
    1.57729,
    -0.576371,
    -1.32856,
    0.12113,
    -0.304486,
    -4.54229,
    -1.00748,
    -0.180551,
    0.362004,
    0,
    -0.576686,
    -0.731843,
    -0.845431,
)
HINGES_ANY = (
    (1, 0.2, -1.40864),
    (1, 0.4, -3.48952),
    (1, 0.6, 1.22328),
    (1, 0.8, 6.00911),
    (2, 0.4, -2.86952),
    (2, 0.6, -1.91327),
    (2, 0.8, -1.29557),
    (20, 0.5, 0.607015),
    (20, 1.0, -1.28311),
    (21, 0.5, 0.724547),
    (21, 1.0, -0.213055),
    (21, 1.5, -1.11121),
    (19, 0.5, -0.229875),
    (19, 1.0, 1.44404),
    (19, 1.5, -2.51555),
)
# The words that most prompts of the fit have; any other is rare.
COMMON = words(
    """
    ( ) - / 1 10 1000 2 2016 3 4 5 500 6 <how> <list> <what> <why> about account advantage after all american and
    android answer any anyone app as ask at average back bad become been before being best better between black
    book business but buy by can car cause change china college come company compare computer could country data
    day delhi did difference different difficult donald during earth effect election engineer engineering english
    exam example exist facebook favorite feel find first for free friend from game get girl go going good google
    government guy had happen has have he help his how human i idea if improve in increase india indian instagram
    interview into iphone it its job know language laptop learn learning life like live long lose love make making
    many me mean men mobile money month more most movie movy much my name need new no not note now number old on
    online only or other out over people person phone place possible prepare president product programming
    question quora real rid right rupee s same say school science see service sex should show site software
    someone song start state still stop student study system take than their them they thing think this through
    time to top travel true trump tv under university up us_ use used using video want war was way we website
    weight were what when where while who why will win with without women word work working world would year you
    your
    """
)
# Right and wrong pairs of the calibration part that pass the gate, for each of calibration.GRADES.
EVIDENCE: dict[str, tuple[tuple[int, int], ...]] = {
    "question": ((1285, 0), (14, 0), (14, 3), (16, 2)),
    "order": ((1500, 0), (532, 0), (1500, 0), (331, 0)),
}
