"use strict";

// Follows the reader's system: Swagger UI goes dark by a class of the root element.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  defaultModelRendering: "model",
  filter: true,
  persistAuthorization: false, // a key stays in no browser
  tryItOutEnabled: true,
  validatorUrl: null, // the badge would tell another host of this one
});
