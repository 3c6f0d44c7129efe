"""fhirclient (SMART on FHIR's, PyPI): models, CRUD, search, paging."""

import os

import fhirclient.models.bundle as bundles
import fhirclient.models.observation as observations
import fhirclient.models.patient as patients
from fhirclient import client
from fhirclient.server import FHIRNotFoundException

PATIENT = os.environ["PATIENT"]
smart = client.FHIRClient(settings={"app_id": "check", "api_base": os.environ["BASE"]})
smart.server.session.headers["Authorization"] = f"Bearer {os.environ['TOKEN']}"
server = smart.server


def observation(value):
    return observations.Observation({
        "resourceType": "Observation", "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": f"Patient/{PATIENT}"},
        "valueQuantity": {"value": value, "unit": "kg",
                          "system": "http://unitsofmeasure.org", "code": "kg"},
    })


read = patients.Patient.read(PATIENT, server)
assert read.id == PATIENT and read.name

created = []
for value in (70.5, 71.5, 72.5):
    answer = observation(value).create(server)
    # return=minimal: the id is in Location, which this client leaves to its caller.
    created.append(answer)
search = observations.Observation.where({"patient": PATIENT, "code": "29463-7", "_count": "2"})
bundle = search.perform(server)
assert bundle.type == "searchset" and bundle.total >= 3, bundle.total
found = list(search.perform_resources_iter(server))
assert len({one.id for one in found}) == bundle.total, (len(found), bundle.total)

one = found[0]
one.valueQuantity.value = 80.25
one.update(server)
again = observations.Observation.read(one.id, server)
assert again.valueQuantity.value == 80.25 and again.meta.versionId != one.meta.versionId

batch = bundles.Bundle({"resourceType": "Bundle", "type": "batch", "entry": [
    {"request": {"method": "GET", "url": f"Patient/{PATIENT}"}},
    {"request": {"method": "GET", "url": "Patient/not-there"}},
]})
answer = server.post_json("", batch.as_json()).json()
assert [e["response"]["status"][:3] for e in answer["entry"]] == ["200", "404"], answer
try:
    patients.Patient.read("not-there", server)
    raise SystemExit("what is not there was read")
except FHIRNotFoundException:
    pass
statement = server.request_json("metadata")
offered = next(r for r in statement["rest"][0]["resource"] if r["type"] == "Observation")
if any(i["code"] == "delete" for i in offered["interaction"]):
    again.delete(server)
print("fhirclient: created, read, searched by pages, updated, sent a batch")
