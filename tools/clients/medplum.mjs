// @medplum/core (npm): CRUD, search, paging, batch. Its client speaks to any FHIR base.
import assert from "node:assert";
import { MedplumClient } from "@medplum/core";

const { BASE, TOKEN, PATIENT } = process.env;
const url = new URL(BASE);
const client = new MedplumClient({
  baseUrl: `${url.origin}/`, fhirUrlPath: url.pathname.slice(1), fetch, accessToken: TOKEN,
  cacheTime: 0, autoBatchTime: 0,
});
client.setAccessToken(TOKEN);
const observation = (value) => ({
  resourceType: "Observation",
  status: "final",
  code: { coding: [{ system: "http://loinc.org", code: "9279-1" }] },
  subject: { reference: `Patient/${PATIENT}` },
  valueQuantity: { value, unit: "/min" },
});

// Without Prefer only headers come back.
const representation = { headers: { Prefer: "return=representation" } };
const patient = await client.readResource("Patient", PATIENT);
assert.equal(patient.id, PATIENT);
const created = [];
for (const value of [12, 13, 14]) {
  created.push(await client.createResource(observation(value), representation));
}
assert.equal(created[0].meta.versionId, "1");
const first = await client.search("Observation", { patient: PATIENT, code: "9279-1", _count: 2 });
assert.equal(first.type, "searchset");
const ids = new Set();
for await (const page of client.searchResourcePages("Observation", { patient: PATIENT, code: "9279-1", _count: 2 })) {
  for (const one of page) ids.add(one.id);
}
assert.ok(created.every(({ id }) => ids.has(id)), "every page was read");
const one = created[0];
const updated = await client.updateResource({ ...one, valueQuantity: { value: 20, unit: "/min" } }, representation);
assert.equal(updated.meta.versionId, "2");
const batch = await client.executeBatch({
  resourceType: "Bundle", type: "batch", entry: [{ request: { method: "GET", url: `Patient/${PATIENT}` } }],
});
assert.ok(batch.entry[0].response.status.startsWith("200"));
const statement = await client.get(client.fhirUrl("metadata"));
const offered = statement.rest[0].resource.find(({ type }) => type === "Observation");
const has = (code) => offered.interaction.some((interaction) => interaction.code === code);
if (has("patch")) {
  const patched = await client.patchResource("Observation", one.id, [{ op: "replace", path: "/status", value: "amended" }], representation);
  assert.equal(patched.status, "amended");
}
if (has("delete")) await client.deleteResource("Observation", one.id);
await assert.rejects(client.readResource("Patient", "not-there"));
console.log("@medplum/core: created, read, searched by pages, updated, sent a batch");
