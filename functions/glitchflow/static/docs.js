// Starts Swagger UI. The validator that it would otherwise call is on the internet.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();
SwaggerUIBundle({
  url: "openapi.json", dom_id: "#docs", validatorUrl: null, deepLinking: true, displayRequestDuration: true,
  docExpansion: "list", filter: true, defaultModelsExpandDepth: 0, tryItOutEnabled: true,
});
