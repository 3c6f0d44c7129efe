"""fhirpy (PyPI): CRUD, search, paging, batch."""

import os

from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import ResourceNotFound

PATIENT = os.environ["PATIENT"]
client = SyncFHIRClient(os.environ["BASE"], authorization=f"Bearer {os.environ['TOKEN']}",
                        extra_headers={"Prefer": "return=representation"})


def observation(value):
    return client.resource(
        "Observation", status="final",
        code={"coding": [{"system": "http://loinc.org", "code": "8302-2"}]},
        subject={"reference": f"Patient/{PATIENT}"},
        valueQuantity={"value": value, "unit": "cm"})


patient = client.reference("Patient", PATIENT).to_resource()
assert patient.id == PATIENT
for value in (170, 171, 172):
    one = observation(value)
    one.save()
    assert one.id and one["meta"]["versionId"] == "1"
search = client.resources("Observation").search(patient=PATIENT, code="8302-2").limit(2)
first = search.fetch()
everything = search.fetch_all()
assert len(first) == 2 and len(everything) >= 3, (len(first), len(everything))
# count() sends a parameter of another server's own, which strict handling refuses.
lenient = SyncFHIRClient(os.environ["BASE"], authorization=f"Bearer {os.environ['TOKEN']}",
                         extra_headers={"Prefer": "handling=lenient"})
counted = lenient.resources("Observation").search(patient=PATIENT, code="8302-2").count()
assert counted == len(everything), (counted, len(everything))
one = everything[0]
one["valueQuantity"]["value"] = 180
one.save()
assert one["meta"]["versionId"] == "2" and one.id == everything[0].id
batch = client.resource("Bundle", type="batch", entry=[
    {"request": {"method": "GET", "url": f"Patient/{PATIENT}"}}])
answer = client.execute("", method="post", data=batch.serialize())
assert answer["entry"][0]["response"]["status"].startswith("200"), answer
statement = client.execute("metadata", method="get")
offered = next(r for r in statement["rest"][0]["resource"] if r["type"] == "Observation")
if any(i["code"] == "delete" for i in offered["interaction"]):
    one.delete()
try:
    client.reference("Patient", "not-there").to_resource()
    raise SystemExit("what is not there was read")
except ResourceNotFound:
    pass
print("fhirpy: created, read, searched by pages, updated, sent a batch")
