"""In which country a cloud's region lies, by ISO 3166 code of three letters: its electricity is what calls there run on.

Facts from the lists of regions that the three large clouds publish. A region that is not here is not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_AWS: Final = {
    "af-south-1": "ZAF", "ap-east-1": "HKG", "ap-east-2": "TWN", "ap-northeast-1": "JPN", "ap-northeast-2": "KOR", "ap-northeast-3": "JPN",
    "ap-south-1": "IND", "ap-south-2": "IND", "ap-southeast-1": "SGP", "ap-southeast-2": "AUS", "ap-southeast-3": "IDN",
    "ap-southeast-4": "AUS", "ap-southeast-5": "MYS", "ap-southeast-6": "NZL", "ap-southeast-7": "THA", "ca-central-1": "CAN",
    "ca-west-1": "CAN", "eu-central-1": "DEU", "eu-central-2": "CHE", "eu-north-1": "SWE", "eu-south-1": "ITA", "eu-south-2": "ESP",
    "eu-west-1": "IRL", "eu-west-2": "GBR", "eu-west-3": "FRA", "il-central-1": "ISR", "me-central-1": "ARE", "me-south-1": "BHR",
    "mx-central-1": "MEX", "sa-east-1": "BRA", "us-east-1": "USA", "us-east-2": "USA", "us-west-1": "USA", "us-west-2": "USA",
    "us-gov-east-1": "USA", "us-gov-west-1": "USA",
}  # fmt: skip
_GCP: Final = {
    "africa-south1": "ZAF", "asia-east1": "TWN", "asia-east2": "HKG", "asia-northeast1": "JPN", "asia-northeast2": "JPN",
    "asia-northeast3": "KOR", "asia-south1": "IND", "asia-south2": "IND", "asia-southeast1": "SGP", "asia-southeast2": "IDN",
    "australia-southeast1": "AUS", "australia-southeast2": "AUS", "europe-central2": "POL", "europe-north1": "FIN", "europe-north2": "SWE",
    "europe-southwest1": "ESP", "europe-west1": "BEL", "europe-west2": "GBR", "europe-west3": "DEU", "europe-west4": "NLD",
    "europe-west6": "CHE", "europe-west8": "ITA", "europe-west9": "FRA", "europe-west10": "DEU", "europe-west12": "ITA",
    "me-central1": "QAT", "me-central2": "SAU", "me-west1": "ISR", "northamerica-northeast1": "CAN", "northamerica-northeast2": "CAN",
    "northamerica-south1": "MEX", "southamerica-east1": "BRA", "southamerica-west1": "CHL", "us-central1": "USA", "us-east1": "USA",
    "us-east4": "USA", "us-east5": "USA", "us-south1": "USA", "us-west1": "USA", "us-west2": "USA", "us-west3": "USA", "us-west4": "USA",
}  # fmt: skip
_AZURE: Final = {
    "australiacentral": "AUS", "australiaeast": "AUS", "australiasoutheast": "AUS", "austriaeast": "AUT", "belgiumcentral": "BEL",
    "brazilsouth": "BRA", "brazilsoutheast": "BRA", "canadacentral": "CAN", "canadaeast": "CAN", "centralindia": "IND", "centralus": "USA",
    "chilecentral": "CHL", "eastasia": "HKG", "eastus": "USA", "eastus2": "USA", "francecentral": "FRA", "francesouth": "FRA",
    "germanynorth": "DEU", "germanywestcentral": "DEU", "indonesiacentral": "IDN", "israelcentral": "ISR", "italynorth": "ITA",
    "japaneast": "JPN", "japanwest": "JPN", "koreacentral": "KOR", "koreasouth": "KOR", "malaysiawest": "MYS", "mexicocentral": "MEX",
    "newzealandnorth": "NZL", "northcentralus": "USA", "northeurope": "IRL", "norwayeast": "NOR", "norwaywest": "NOR",
    "polandcentral": "POL", "qatarcentral": "QAT", "southafricanorth": "ZAF", "southafricawest": "ZAF", "southcentralus": "USA",
    "southeastasia": "SGP", "southindia": "IND", "spaincentral": "ESP", "swedencentral": "SWE", "swedensouth": "SWE",
    "switzerlandnorth": "CHE", "switzerlandwest": "CHE", "uaecentral": "ARE", "uaenorth": "ARE", "uksouth": "GBR", "ukwest": "GBR",
    "westcentralus": "USA", "westeurope": "NLD", "westindia": "IND", "westus": "USA", "westus2": "USA", "westus3": "USA",
}  # fmt: skip
_COUNTRIES: Final[Mapping[str, str]] = {**_AWS, **_GCP, **_AZURE}
_ZONE: Final = re.compile(r"(?P<region>.*\d)-?[a-f]")
"""A zone within a region: `us-east-1a`, `europe-west4-b`."""


def country_of(region: str) -> str | None:
    """The country of a region, or of a zone within one, in any case; None for one that nobody knows, and for several countries."""
    name = region.strip().lower().replace(" ", "").replace("_", "-")
    zone = _ZONE.fullmatch(name)
    return _COUNTRIES.get(name) or (None if zone is None else _COUNTRIES.get(zone["region"]))
