"""Plain words for what the figures of a manifest count."""

from __future__ import annotations

LEFT_OUT = {
    "duplicates": ("Copies of another row", "Read the same as a row that stayed.", ""),
    "near_duplicates": (
        "Almost the same as another row",
        "Nearly every word is that of a row that stayed.",
        "near duplicate",
    ),
    "leaked": (
        "Too like a row that judges the model",
        "Training on a text like one of the test or validation rows would make the model look better than it is.",
        "leaked",
    ),
    "dropped_for_personal_data": (
        "Personal data of a kind that takes the row out",
        "The recipe says that rows with such data must not be kept at all.",
        "",
    ),
}
"""By figure: what was left out, why, and the kind of review that has examples."""
REVIEW = {
    "doubtful_labels": (
        "Labels that look wrong",
        "A model trained on the other rows predicts another label. The rows stay until a person decides.",
        "doubtful label",
    ),
    "near_duplicate_label_conflicts": (
        "Texts alike with different labels",
        "One of the two labels may be wrong. Both rows stay.",
        "near duplicate with another label",
    ),
    "length_outliers": ("Texts of unusual length", "Far longer or shorter than the others.", "length"),
}
"""The same for what a person may want to look at."""
VERDICTS = {
    "reject": ("not met: stops the snapshot", "met"),
    "quarantine": ("not met: rows set aside", "met"),
    "warn": ("not met: noted", "met"),
}
"""Outcome of a check in words: not met, met."""
FAULT = "A fault of the data: it broke a check."
FILTERED = "The recipe asks for such rows to be left out."
PERIODS = {4: "year", 7: "month", 10: "day"}
"""By the length of a period's name."""
ACTIONS = {
    "mask": "masked",
    "pseudonym": "replaced by a pseudonym",
    "drop_row": "the row was left out",
    "keep": "kept",
}
ENTITIES = {
    "EMAIL_ADDRESS": "e-mail addresses",
    "PHONE_NUMBER": "phone numbers",
    "CREDIT_CARD": "card numbers",
    "IBAN_CODE": "bank accounts (IBAN)",
    "IP_ADDRESS": "IP addresses",
    "US_SSN": "US social security numbers",
    "UK_NHS": "UK health service numbers",
    "PL_PESEL": "Polish identity numbers",
    "ES_NIF": "Spanish tax numbers",
    "IT_FISCAL_CODE": "Italian tax codes",
    "PERSON": "names of people",
    "LOCATION": "places",
    "ORGANIZATION": "organisations",
    "URL": "links",
}
