export * from "./api.js";
export * from "./element.js";
