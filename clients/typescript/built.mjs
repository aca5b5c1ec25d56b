// Stops an installation of the package before it is built: it would succeed, and every import of it would fail.
import { existsSync } from "node:fs";

if (!existsSync(new URL("dist/index.js", import.meta.url))) {
  console.error("aftercall-client is not built: run `make client-typescript` in the checkout of Aftercall first");
  process.exit(1);
}
