"""`python -m enforcer`."""

from enforcer.cli import main

if __name__ == "__main__":
    main(prog_name="enforcer")
