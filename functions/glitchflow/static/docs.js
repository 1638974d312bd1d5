// Starts Swagger UI; the validator it would otherwise call is on the internet.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#docs", validatorUrl: null, deepLinking: true });
