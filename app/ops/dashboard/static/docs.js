"use strict";

// Follows the system's colour scheme: Swagger UI turns dark by a class of the root element.
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
  persistAuthorization: false, // no browser stores the key
  tryItOutEnabled: true,
  validatorUrl: null, // the badge would send this address to another host
});
