// Compiled with the tests: what the service accepts, the types accept.
import { Aftercall } from "../dist/index.js";

const client = new Aftercall({ url: "http://127.0.0.1:8000", key: "ak_…", retries: Infinity, onRetry: (error) => void error.message });
await client.getCall("12", { include: ["insights", "projections.generic", "provenance"], fields: "id,notes" });
client.listCalls({ include: ["insights"], stage: ["final"], unlinkedCrm: "hubspot" });
// @ts-expect-error: there is no such part
await client.getCall("12", { include: ["weather"] });
