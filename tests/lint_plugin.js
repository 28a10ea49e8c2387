// Rules of the browser's code that Deno's linter has not: what `bundle.py` relies on, and types on what modules export.

const spansLines = (context, node, text) => {
  if (/\n/.test(text)) context.report({ node, message: "No string spans lines: the bundle drops indentation." });
  if (/\/\*.*\*\/\s*$/.test(text)) context.report({ node, message: "No string ends with a block comment: the bundle drops those." });
};

export default {
  name: "vgg-viz",
  rules: {
    "whole-lines": {
      create: (context) => ({
        Literal: (node) => { if (typeof node.value === "string") spansLines(context, node, node.raw); },
        TemplateElement: (node) => spansLines(context, node, node.raw),
      }),
    },
    "typed-exports": {
      create: (context) => ({
        ExportNamedDeclaration(node) {
          const declared = node.declaration, arrow = declared?.declarations?.[0]?.init?.type === "ArrowFunctionExpression";
          if (declared?.type !== "FunctionDeclaration" && !arrow) return;
          const said = context.sourceCode.getCommentsBefore(node).at(-1);
          if (said?.type !== "Block" || !said.value.includes("@returns")) context.report({ node, message: "An exported function says its types (JSDoc)." });
        },
      }),
    },
  },
};
