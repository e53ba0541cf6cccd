// For `import`. One copy of everything serves both ways in, so that an error is of the same class
// whoever made it.
export * from "./lambda.js";
