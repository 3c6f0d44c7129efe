// fhir-kit-client (npm): CRUD, search, paging, batch, transaction.
import assert from "node:assert";
import { Client } from "fhir-kit-client";

const { BASE, TOKEN, PATIENT } = process.env;
const client = new Client({ baseUrl: BASE, bearerToken: TOKEN });
const observation = (value) => ({
  resourceType: "Observation",
  status: "final",
  code: { coding: [{ system: "http://loinc.org", code: "8867-4" }] },
  subject: { reference: `Patient/${PATIENT}` },
  valueQuantity: { value, unit: "/min" },
});
const prefer = { headers: { Prefer: "return=representation" } };

const statement = await client.capabilityStatement();
assert.equal(statement.resourceType, "CapabilityStatement");
const patient = await client.read({ resourceType: "Patient", id: PATIENT });
assert.equal(patient.id, PATIENT);
const created = [];
for (const value of [60, 61, 62]) {
  created.push(await client.create({ resourceType: "Observation", body: observation(value), options: prefer }));
}
assert.equal(created[0].meta.versionId, "1");
let page = await client.search({
  resourceType: "Observation",
  searchParams: { patient: PATIENT, code: "8867-4", _count: 2 },
});
assert.equal(page.type, "searchset");
const ids = new Set();
while (page) {
  for (const entry of page.entry ?? []) ids.add(entry.resource.id);
  page = page.link?.some((link) => link.relation === "next") ? await client.nextPage({ bundle: page }) : null;
}
assert.ok(created.every(({ id }) => ids.has(id)), "every page was read");
const byPost = await client.resourceSearch({
  resourceType: "Observation",
  searchParams: { patient: PATIENT, code: "8867-4" },
  options: { postSearch: true },
});
assert.equal(byPost.total, ids.size);
const one = created[0];
one.valueQuantity.value = 99;
const updated = await client.update({ resourceType: "Observation", id: one.id, body: one, options: prefer });
assert.equal(updated.meta.versionId, "2");
const former = await client.vread({ resourceType: "Observation", id: one.id, version: "1" });
assert.equal(former.valueQuantity.value, 60);
const batch = await client.batch({
  body: { resourceType: "Bundle", type: "batch", entry: [{ request: { method: "GET", url: `Patient/${PATIENT}` } }] },
});
assert.ok(batch.entry[0].response.status.startsWith("200"));
const transaction = await client.transaction({
  body: {
    resourceType: "Bundle", type: "transaction",
    entry: [{ resource: observation(70), request: { method: "POST", url: "Observation" } }],
  },
});
assert.ok(transaction.entry[0].response.status.startsWith("201"));
const offered = statement.rest[0].resource.find(({ type }) => type === "Observation");
const has = (code) => offered.interaction.some((interaction) => interaction.code === code);
if (has("patch")) {
  const patched = await client.patch({
    resourceType: "Observation", id: one.id, options: prefer,
    JSONPatch: [{ op: "replace", path: "/status", value: "amended" }],
  });
  assert.equal(patched.status, "amended");
}
if (has("history-instance")) {
  const history = await client.history({ resourceType: "Observation", id: one.id });
  assert.equal(history.type, "history");
}
if (has("delete")) await client.delete({ resourceType: "Observation", id: one.id });
await assert.rejects(client.read({ resourceType: "Patient", id: "not-there" }));
console.log("fhir-kit-client: created, read, searched by pages, updated, sent bundles");
