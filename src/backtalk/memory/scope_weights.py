"""Weights of the evidence in scope decisions."""

WEIGHTS = {
    "where words": {"bias": -4.0, "condition": 7.0},
    "where meaning": {"bias": -5.0, "condition": 3.0, "meant": 5.0, "topic": 5.0},
    "inside words": {"bias": -4.0, "shared": 5.0, "foreign": -3.0, "margin": 4.0},
    "inside meaning": {"bias": -3.5, "shared": 3.0, "foreign": -2.0, "near": 4.0, "margin": 8.0},
    "where inside words": {
        "bias": -4.5,
        "condition": 5.0,
        "shared": 4.0,
        "foreign": -3.0,
        "margin": 2.0,
    },
    "where inside meaning": {
        "bias": -5.0,
        "condition": 2.0,
        "meant": 4.0,
        "topic": 4.0,
        "shared": 2.0,
        "foreign": -2.0,
        "near": 2.0,
        "margin": 4.0,
    },
}
