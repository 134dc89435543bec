"""`python -m gan_vkd` is the command `gan-vkd`."""

from gan_vkd.cli import main

main()
