// Reads cases.ndjson, evaluates each case with the npm package, prints what differs.
const fs = require("fs");
const readline = require("readline");
const fhirpath = require("fhirpath");
const model = require("fhirpath/fhir-context/r4");

// As for search: nothing is fetched, a reference is known by its type. The package
// does not type what a function of the caller returns: the name is compared.
const resolve = (inputs) =>
  inputs.flatMap((item) => {
    const reference = typeof item === "string" ? item : item && item.reference;
    const type = item && item.type;
    const contained = (current.contained || []).find((c) => reference === "#" + c.id);
    if (contained) return [contained.resourceType];
    const found = reference && /(?:^|\/)([A-Z][A-Za-z]+)\/[A-Za-z0-9.-]{1,64}(?:\/_history\/[^/]+)?$/.exec(reference);
    const name = found ? found[1] : reference && reference.startsWith("#") ? null : type;
    return name ? [name] : [];
  });
const options = { userInvocationTable: { resolve: { fn: resolve, arity: { 0: [] }, internalStructures: false } } };

const written = (expression) => expression.replace(/resolve\(\) is (\w+)/g, "resolve() = '$1'");

const compiled = new Map();
const key = (value) =>
  Array.isArray(value)
    ? "[" + value.map(key).join() + "]"
    : value && typeof value === "object"
      ? "{" + Object.keys(value).sort().map((k) => JSON.stringify(k) + ":" + key(value[k])).join() + "}"
      : JSON.stringify(value);
const set = (values) => [...new Set(values.map(key))].sort().join("\n");

let current = {};
let place = "";
const lines = readline.createInterface({ input: fs.createReadStream("cases.ndjson") });
lines.on("line", (line) => {
  const entry = JSON.parse(line);
  if (entry.resource) {
    current = entry.resource;
    place = entry.place;
    return;
  }
  const { id, expression, ours } = entry;
  let theirs, error;
  try {
    if (!compiled.has(expression)) compiled.set(expression, fhirpath.compile(written(expression), model, options));
    theirs = compiled.get(expression)(current);
  } catch (caught) {
    error = String(caught.message || caught).slice(0, 200);
  }
  if (error || set(ours) !== set(theirs))
    console.log(JSON.stringify({ id, expression, place, ours, ...(error ? { error } : { theirs }) }));
});
