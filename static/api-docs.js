/* Swagger UI in place of the plain list of endpoints, in the theme of the page. */
"use strict";
{
  const place = document.getElementById("interactive");
  const { theme } = document.documentElement.dataset;
  const darkness = matchMedia("(prefers-color-scheme: dark)");
  const dress = () => {
    document.documentElement.classList.toggle("dark-mode", theme ? theme === "dark" : darkness.matches);
  };
  dress();
  darkness.addEventListener("change", dress);
  SwaggerUIBundle({
    url: place.dataset.openapi,
    domNode: place,
    presets: [SwaggerUIBundle.presets.apis],
    plugins: [() => ({ components: { InfoContainer: () => null } })] /* the page has its own heading */,
    layout: "BaseLayout",
    deepLinking: true,
    defaultModelsExpandDepth: 0,
    supportedSubmitMethods: ["get", "post"],
    validatorUrl: null,
    onComplete: () => {
      document.getElementById("endpoints").hidden = true;
    },
  });
}
